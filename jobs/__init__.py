"""What happens later or at a set time."""
