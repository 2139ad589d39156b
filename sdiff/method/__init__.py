"""The paper: the spectrum of the item graph, noise schedules, the denoiser, training loss and sampling."""
