"""Side-by-side measurements, each runnable alone, each printing ratios."""
