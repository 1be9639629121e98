"""
Apache Livy on a primary node, as far as batches go.

What is said here of Livy was read in its documentation ("REST API", https://livy.apache.org/docs/latest/rest-api.html)
and its source (github.com/apache/incubator-livy, ``SessionServlet``, ``SessionManager``, ``BatchSession``):

- An id is an integer that the server counts from 0, so two servers have a batch 0 each, which are not the same.
- ``name`` is optional and unique among the batches that a server knows; another of the same name is refused with 400,
  and has used up an id.
- ``/batches/X`` is by id if X has digits alone, and by name otherwise. The documentation does not say so, the source
  does; older servers take ids only, and answer 400. There is no ``?name=``; ``GET /batches`` has ``from``, ``size``.
- A batch that ended is forgotten after ``livy.server.session.state-retain.sec``, 600 s by default, and one that was
  deleted at once: then it is 404, like one that never was.
- ``appId`` is null until YARN has the application. ``log`` has standard output and error under headings of their own.
"""
