"""The serving layer: look-ups of one champion's answers, in process and over HTTP; no Spark, no pandas."""
