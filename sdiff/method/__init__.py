"""The method of the paper: graph spectrum, noise schedules, denoiser, training losses and sampling."""
