//! Reads issues from Markdown files in a folder.
