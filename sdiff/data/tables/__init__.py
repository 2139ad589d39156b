"""Reads table files (CSV and similar, Parquet, JSON, optionally gzipped) and data frames as text columns in DuckDB."""
