"""The steps of the batch layer: ingest, train, publish, promote, purge, verify."""
