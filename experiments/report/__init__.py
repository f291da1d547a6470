"""From the numbers of finished stages to tables, figures and pages; nothing is computed anew."""
