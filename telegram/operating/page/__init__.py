"""The operator's page: an HTTP JSON API over the desk (desk.py), and the files of the page. Off without `ADMIN_LISTEN`.

- access: where a request may come from; secrets, sessions, and the limit on attempts to log in
- server: the routes, and the headers of each answer
"""
