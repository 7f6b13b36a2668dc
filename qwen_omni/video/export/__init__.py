"""A summary as Markdown, subtitles, chapters or a web page."""
