"""The report page: one HTML file with every result, that opens from disk and asks nothing of a network.

Pure: results, pictures and arrays in, text out. `gpot.stages.page` finds them, :func:`gpot.report.page.render.render`
makes the page of them; `page.html.j2`, `page.css` and `page.js` beside this file say how it looks and moves.
"""
