"""`rnr app`: a page on which a person sees the diagnosis and the restored photo beside the original, and turns knobs.

    rnr app                     # http://127.0.0.1:7860

    picture.py   one photo: what was asked of it, and its way through the models
    album.py     one visitor's photos: what is to be done next, and a thread that does it
    visitors.py  who is here: an album each, in folders of their own that vanish with them
    turns.py     visitors compute in turn, a tile at a time
    words.py     everything the page says, as HTML
    page.py      layout and events (Gradio); page.css, page.js
    command.py   the command: models, address, password, server

Only `page` and `command` know of Gradio; the rest is tested without a browser.
"""
