"""Plots the signal-to-noise ratio against time and graph frequency into spectrum.html."""

import plotly.express as px

from sdiff import Recommender
from sdiff.method.schedule import NoiseSchedule

model = Recommender.load("demo")
schedule, lam = NoiseSchedule.of(model.config), model.basis.lam  # (K,)
t = schedule.times(50)  # (51,)
snr = schedule.snr(t[1:], lam).log10().clamp(-5, 5)  # (50, K)
labels = {"x": "frequency", "y": "t", "color": "log SNR"}
px.imshow(snr.numpy(), y=t[1:].numpy(), labels=labels, aspect="auto").write_html("spectrum.html")
print("eigenvalues from", *(f"{value:.3f}" for value in (lam.min(), lam.max())), "- see spectrum.html")
