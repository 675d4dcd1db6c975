"""Pure transforms, DataFrame -> DataFrame, by domain."""
