"""What the user asks for: options and their grammars, typed and closed."""
