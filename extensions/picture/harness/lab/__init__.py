"""The cluster of docs/learn/lab.html: real nodes in virtual time that a person drives.

See extensions/picture/lab-page.md.
"""
