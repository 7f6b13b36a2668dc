"""Names of voices, by generation. Source: Model Studio's Qwen-Omni page and voice list, read 2026-09-18.

The lists grow, and a voice of one generation is unknown to another, so they only serve suggestions in error
messages and the default voice; a name that is not listed is sent all the same.
"""

QWEN35 = (
    "Tina", "Cindy", "Liora Mira", "Sunnybobi", "Raymond", "Ethan", "Theo Calm", "Serena", "Harvey", "Maia", "Evan",
    "Qiao", "Momo", "Wil", "Angel", "Mia", "Joyner", "Katerina", "Ryan", "Jennifer", "Aiden", "Mione", "Dylan",
    "Eric", "Peter", "Marcus", "Rocky", "Sohee", "Lenn", "Ono Anna",
)  # fmt: skip
QWEN3 = (
    "Cherry", "Ethan", "Nofish", "Jennifer", "Ryan", "Katerina", "Elias", "Jada", "Dylan", "Sunny", "Li", "Marcus",
    "Roy", "Peter", "Rocky", "Kiki", "Eric", "Serena", "Chelsie", "Momo",
)  # fmt: skip
TURBO = ("Cherry", "Serena", "Ethan", "Chelsie")
OPEN_WEIGHTS = ("Ethan", "Chelsie")
