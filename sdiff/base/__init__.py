"""What every other package uses: errors, files, paths, devices, processes."""
