"""What is computed once because dashboards, long ranges and alerts ask for it again and again."""
