"""Bit error rates, and information loss, LAMeTA (3)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference.network_gradients import assert_gradients_match
from scipy.integrate import quad

from lameta_jax.network.channel import chain_information_loss, nakagami_mrc_ber

SNR = np.array([1e-4, 0.01, 1.0, 10.0, 1e3, 1e6])


def test_rayleigh_closed_form():
    # m = M = 1: (1 - r) / 2 with r = sqrt(g / (1 + g)), times (1 + r) / (1 + r) against cancellation
    with jax.enable_x64(True):
        computed = nakagami_mrc_ber(jnp.asarray(SNR))
    np.testing.assert_allclose(computed, 1 / (2 * (1 + SNR) * (1 + np.sqrt(SNR / (1 + SNR)))), rtol=1e-8)


def test_two_rayleigh_branches_closed_form():
    # M = 2: p^2 (1 + 2 (1 - p)), p the error rate of one branch (Proakis, eq. 14.4-15)
    p = 1 / (2 * (1 + SNR) * (1 + np.sqrt(SNR / (1 + SNR))))
    with jax.enable_x64(True):
        computed = nakagami_mrc_ber(jnp.asarray(SNR), branches=2.0)
    np.testing.assert_allclose(computed, p**2 * (1 + 2 * (1 - p)), rtol=1e-8)


def test_fading_figure_two_is_two_rayleigh_branches_at_half_the_snr():
    # (1 + g / (2 s))^{-2} both ways
    np.testing.assert_allclose(
        nakagami_mrc_ber(jnp.array([3.0]), m=2.0), nakagami_mrc_ber(jnp.array([1.5]), branches=2.0), rtol=1e-6
    )


@pytest.mark.parametrize("m, branches", [(0.5, 1.0), (0.73, 3.0), (1.5, 1.0), (4.2, 2.0), (30.0, 4.0)])
def test_matches_adaptive_quadrature_for_real_fading_figures(m, branches):
    def integrand(angle, snr):
        return (1 + snr / (m * np.sin(angle) ** 2)) ** (-m * branches) / np.pi

    snrs = np.array([0.01, 1.0, 20.0])
    expected = [quad(integrand, 0, np.pi / 2, args=(snr,), epsabs=0, epsrel=1e-10)[0] for snr in snrs]
    with jax.enable_x64(True):
        computed = nakagami_mrc_ber(jnp.asarray(snrs), m, branches)
    np.testing.assert_allclose(computed, expected, rtol=1e-7)
    np.testing.assert_allclose(nakagami_mrc_ber(jnp.asarray(snrs), m, branches), expected, rtol=2e-4)


def test_no_signal_is_a_coin_toss_and_is_smooth():
    assert float(nakagami_mrc_ber(jnp.array(0.0))) == pytest.approx(0.5, rel=1e-6)
    assert_gradients_match(lambda snr, m: nakagami_mrc_ber(snr, m, 2.0), [0.5, 5.0], 1.5)


def test_information_loss():
    # 1 - 0.9 * 0.8 * 0.5 = 0.64; a chain of one agent has no link to lose anything on
    assert float(chain_information_loss(jnp.array([0.1, 0.2, 0.5]))) == pytest.approx(0.64, rel=1e-6)
    assert float(chain_information_loss(jnp.zeros((0,)))) == 0.0


def test_information_loss_keeps_tiny_rates_and_has_gradients_at_the_ends():
    # 1e-12 + 2e-12 would be 0 as one minus a product in float32
    assert float(chain_information_loss(jnp.array([1e-12, 2e-12]))) == pytest.approx(3e-12, rel=1e-6)
    # d/dp_1 = 1 - p_2, d/dp_2 = 1 - p_1
    gradient = jax.grad(chain_information_loss)(jnp.array([0.0, 1.0]))
    np.testing.assert_allclose(gradient, [0.0, 1.0])
