"""Objects out of answers: what is asked, how an answer is read, when it is asked again, and when it is an error."""
