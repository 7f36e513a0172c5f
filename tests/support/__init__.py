"""What tests share: processes, data, models and servers made once, and helpers by noun."""
