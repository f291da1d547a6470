"""The documentation site: what mkdocs does not do by itself, and the pictures and animations of the gallery."""
