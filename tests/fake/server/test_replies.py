from telegram.fake.server.replies import Reply


def test_a_reply_promises_the_length_of_its_body():
    head, body = Reply(200, b"12345").parts()
    assert body == b"12345"
    assert head == (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n"
    )


def test_retry_after_and_content_type_travel_in_the_head():
    head, _ = Reply(429, b"", content_type="text/html", retry_after=3).parts()
    assert head.startswith(b"HTTP/1.1 429 Too Many Requests\r\nContent-Type: text/html\r\n")
    assert b"\r\nRetry-After: 3\r\n" in head


def test_a_status_without_a_name():
    assert Reply(599, b"").parts()[0].startswith(b"HTTP/1.1 599 Status 599\r\n")


def test_a_reply_that_closes_the_connection_has_the_header():
    reply = Reply(200, b"")
    reply.keep_alive = False
    assert b"\r\nConnection: close\r\n" in reply.parts()[0]
