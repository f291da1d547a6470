"""What a user could do instead, measured beside CCM: peers, budgets, other methods, and the decision chart."""
