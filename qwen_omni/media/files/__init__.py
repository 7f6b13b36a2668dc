"""Files: opening them safely, finding them, temporary copies, and a deadline for work on them."""
