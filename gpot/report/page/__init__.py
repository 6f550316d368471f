"""The report page: one HTML file with every result, that opens from disk and asks nothing of a network.

Results, pictures and arrays in, text out. :func:`gpot.report.page.build.write_page` reads the report folder,
:func:`gpot.report.page.render.render` makes the page of what is there; `page.html.j2`, `page.css` and `page.js` beside
this file say how it looks and moves.
"""
