"""The cluster of docs/learn/lab.html: real nodes in virtual time that a person drives.

See docs/develop/lab-page.md.
"""
