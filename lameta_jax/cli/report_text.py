"""The fixed words of the demo's report, and how it looks."""

STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.55 system-ui, sans-serif; color: #222; background: #fff; max-width: 64rem; margin: 2rem auto;
       padding: 0 1rem; }
h1 { font-size: 1.7rem; margin-bottom: .2rem; } h2 { font-size: 1.25rem; margin-top: 2.2rem; }
p, li, dd { max-width: 46rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; white-space: nowrap; }
th, td { padding: .2rem .6rem; text-align: right; border-bottom: 1px solid #ddd; }
th:first-child, td:first-child { text-align: left; }
td:nth-child(3n+2), th.application { border-left: 1px solid #ddd; }
th.application { text-align: center; }
tbody tr:hover { background: #f4f8fb; }
img { max-width: 100%; height: auto; }
figure { margin: 1rem 0; } figcaption, .notes { font-size: .85rem; color: #555; max-width: 46rem; }
blockquote { margin: 1rem 0; padding: .6rem 1rem; border-left: 4px solid #0072b2; background: #f4f8fb;
             overflow-wrap: anywhere; white-space: pre-wrap; }
.partial { background: #fff4e0; border: 1px solid #e69f00; padding: .6rem 1rem; }
.facts td, .facts th { text-align: left; white-space: normal; overflow-wrap: anywhere; }
"""

INTRODUCTION = """
<p>An <b>agentic network</b> is a set of AI agents, each with a type of task it can do, joined by imperfect links. A
request is served by a <b>chain</b>: one agent for each task, in order. Agents differ. Large ones are capable but slow,
some crash often, some links garble what they carry; so every chain is a compromise between four factors:
<b>capability</b>, <b>information</b> lost on links, <b>latency</b> (in minutes throughout) and <b>outage</b>.</p>
<p>Which compromise is right depends on the user, who says so only in words. The method shown here, LAMeTA
(Liu et al.), works in two stages. First, small language models
(<b>E-LAMs</b>) learn from a large one (the <b>C-LAM</b>) to read a <b>preference</b> out of a prompt: four weights that
sum to 1. This training is called <b>IoKD</b>. Then a policy learns by trial and error, with no more than that reading,
to pick the chain that the user values most. This is <b>SRL</b>.</p>
<p>How content a user is with a chain is its <b>QoE</b>, quality of experience; larger is better. A chain that cannot
serve the request counts -1. On a network of this size the best chain of every user can also be found by trying all of
them: the <b>optimum</b>. It tells how much any method leaves on the table, its <b>gap</b>.</p>
"""

METHOD_NOTES = {
    "even": "all four factors taken to matter alike, whatever the user says",
    "mean vector": "what users of the application want on average, whatever this one says",
    "linear probe": "ridge regression on sentence embeddings: what any E-LAM should beat",
    "raw": "the E-LAM before IoKD, trained on general history only",
    "iokd": "the E-LAM after learning from the C-LAM, in two sizes",
    "teacher": "the large language model itself",
    "annotator noise floor": "each annotator against the mean of the others; errors below it cannot be told from noise",
    "random": "linked agents of the right types, picked at random",
    "greedy": "at each step the agent of the right type that is best in the factor that matters most",
    "DRL-even": "the same learner, told that all four factors matter alike",
    "SRL (own preference)": "the learned policy, told exactly what the user wants",
    "SRL (IoKD translation)": "the learned policy, told what the E-LAM read: the whole method",
    "plug-in optimum": "exact search for what the E-LAM read, valued by what the user wants",
    "optimum": "exact search for what the user wants: nothing can be better",
}

CAPTIONS = {
    "elam_error": "How far each reading is from the user's own preference, on prompts never used in training.",
    "preferences": "Each row is a user: left the own preference, right what the E-LAM reads out of the words.",
    "qoe": "What users get. The optimum is the ceiling; the plug-in optimum is exact search with the same reading.",
    "training": "Episodes of the training itself, each policy among its own users; those of DRL-even want all factors "
    "alike.",
    "network": "Every dot is an agent: lower is faster, further right in its column is more capable.",
}


# The example's numbers in words; the keys are those of the summary.
FACTS = {
    "capability": "has a capability of {:.4f} (the chance that all its agents succeed, divided by their number)",
    "information_loss": "garbles {:.2%} of what passes over its links",
    "latency": "answers after {:.3f} minutes on average",
    "outage": "is out of service with a probability of {:.2%}",
    "subjective_qoe": "is worth a QoE of {:.3f} to this user",
}
