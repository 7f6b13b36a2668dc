"""Objects out of answers: schema, prompt, parsing, repair, and captions made of them."""
