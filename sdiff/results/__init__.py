"""Results of experiments: read from files, and drawn. Used by the app and by `sdiff reproduce`."""
