"""Shared basics: errors, value checks, files, paths, devices, processes, terminal."""
