"""Where events go to: lake tables, written so that nothing lands twice."""
