"""Where jobs and attempts are kept."""
