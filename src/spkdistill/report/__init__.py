"""The run's report: one HTML page, one tab-separated summary and the table that a terminal shows."""
