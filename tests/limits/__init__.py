"""The limits, one row each: what is asked, who tries to exceed it, and what became of that. docs/limits.md is made of them."""
