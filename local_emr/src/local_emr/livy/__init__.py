"""
The batches API of Apache Livy on a primary node.

Sources of the facts below: Livy's documentation ("REST API", https://livy.apache.org/docs/latest/rest-api.html)
and its source (github.com/apache/incubator-livy, ``SessionServlet``, ``SessionManager``, ``BatchSession``):

- An id is an integer that each server counts from 0, so two servers have different batches with the id 0.
- ``name`` is optional and unique on a server; a second batch of the same name is refused with 400, and uses up an id.
- ``/batches/X`` is by id if X has digits only, and by name otherwise. This is in the source but not documented; older
  servers accept ids only, and answer 400. There is no ``?name=``; ``GET /batches`` has ``from``, ``size``.
- A finished batch is removed after ``livy.server.session.state-retain.sec``, 600 s by default, and a deleted one at
  once; the response is then 404, as for an unknown id.
- ``appId`` is null until YARN has the application. ``log`` has standard output and error under separate headings.
"""
