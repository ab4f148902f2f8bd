"""A teacher on this machine: a causal language model in the Hugging Face format, from a folder."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lameta_jax.intents.requests import Request
from lameta_jax.intents.teacher import LiveTeacher, Reply
from lameta_jax.intents.transcript import TeacherError


@dataclass(frozen=True, kw_only=True)
class LocalConfig:
    """How a local model answers."""

    max_new_tokens: int = 4096
    temperature: float = 0.0  # 0 is greedy
    seed: int = 0  # of the sampling; each request draws from a stream of its own

    def __post_init__(self):
        if self.max_new_tokens < 1:
            raise ValueError(f"max_new_tokens = {self.max_new_tokens} must be at least 1")
        if not self.temperature >= 0:
            raise ValueError(f"temperature = {self.temperature} must not be negative")


class LocalTeacher(LiveTeacher):
    """Asks a local model through its chat template, and records every exchange."""

    def __init__(self, folder: str | Path, path: str | Path, config: LocalConfig = LocalConfig()):
        """Load the model and open the transcript.

        Args:
          folder: the checkpoint: configuration, weights, tokeniser with a chat template. Nothing is downloaded.
          path: the transcript.

        Raises:
          TeacherError: the checkpoint cannot be loaded, or the transcript cannot be opened.
        """
        self._config, self._folder = config, Path(folder)
        self._tokenizer, self._model = _load(Path(folder))
        sampling = {"temperature": config.temperature, "seed": config.seed} if config.temperature > 0 else {}
        name = Path(folder).resolve().name
        super().__init__(path, {"model": name, "max_tokens": config.max_new_tokens, **sampling})

    def _reply(self, request: Request) -> Reply:
        import torch

        self._count(requests=1)
        prompt = self._prompt(request)
        num_prompt = prompt["input_ids"].shape[1]
        room = getattr(
            self._model.config, "max_position_embeddings", num_prompt + self._config.max_new_tokens
        )
        if num_prompt >= room:
            raise self._failure(f"{request.id} has {num_prompt} tokens, and the model takes {room}")
        with torch.random.fork_rng(devices=[]), torch.inference_mode():
            torch.manual_seed(_seed(self._config.seed, request))
            length = min(self._config.max_new_tokens, room - num_prompt)
            output = self._model.generate(**prompt, **_sampling(self._config), max_new_tokens=length)
        new = output[0, num_prompt:].tolist()
        stopped = new and new[-1] in _ends(self._model)
        text = self._tokenizer.decode(new, skip_special_tokens=True)
        return Reply(text, num_prompt, len(new), "stop" if stopped else "length")

    def _prompt(self, request: Request) -> Any:
        messages = [message._asdict() for message in request.messages]
        try:
            return self._tokenizer.apply_chat_template(
                messages, add_generation_prompt=True, return_dict=True, return_tensors="pt"
            )
        except Exception as error:  # a template may refuse with whatever it likes, system messages for one
            raise self._failure(f"the chat template refuses {request.id} ({_first_line(error)})") from None

    def _failure(self, reason: str) -> TeacherError:
        self._count(failures=1)
        return TeacherError(f"{self._folder}: {reason}")


def _sampling(config: LocalConfig) -> dict[str, Any]:
    if config.temperature > 0:
        return {"do_sample": True, "temperature": config.temperature}
    return {"do_sample": False}


def _seed(seed: int, request: Request) -> int:
    """A seed that depends on what is asked, not on what was asked before."""
    text = repr((seed, request.id, request.messages))
    return int.from_bytes(hashlib.sha256(text.encode("utf-8")).digest()[:8], "big") >> 1


def _ends(model: Any) -> list[int]:
    ends = model.generation_config.eos_token_id
    return ends if isinstance(ends, list) else [ends]


def _load(folder: Path) -> tuple[Any, Any]:
    if not (folder / "config.json").is_file():
        raise TeacherError(f"{folder}: not the folder of a language model (it has no config.json)")
    try:
        from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast
        from transformers.utils import logging
    except ImportError:
        raise TeacherError("LocalTeacher needs transformers: pip install 'lameta_jax[intents]'") from None
    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        # not AutoTokenizer, which puts what it knows of a type of model in the place of what the file says
        tokenizer: Any = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
        model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True).eval()
    except Exception as error:  # whatever transformers and its loaders raise
        raise TeacherError(f"{folder}: language model cannot be loaded ({_first_line(error)})") from None
    finally:
        if bars:
            logging.enable_progress_bar()
    if tokenizer.chat_template is None:
        raise TeacherError(f"{folder}: the tokeniser has no chat template")
    return tokenizer, model


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).split("\n")[0]
