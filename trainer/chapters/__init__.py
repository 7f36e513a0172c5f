"""The sections of a run's page, by what they tell of."""
