"""Messages: channels, conversations between two people, and what is written in them.

Every message and every change of one takes the next change number of its channel while the channel's row is locked. The
lock is held until the commit, so numbers become visible in their order: whoever has read up to a number and asks for
what came ``since`` misses nothing, and everybody sees the same order, on whichever instance.
"""

PERMISSIONS = {
    "messages.read": "Read messages",
    "messages.write": "Write messages and create channels",
}
