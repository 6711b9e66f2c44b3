"""What is told: to a person, to a program."""
