"""The best artifact: contenders, timed and chosen."""
