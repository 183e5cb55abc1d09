"""What readers are shown of committed results: tables of documents, numbers of figures."""
