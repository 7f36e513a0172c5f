"""End with 0 when a server at HOST:PORT says that every model it should serve is loaded."""

import sys

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

with grpc.insecure_channel(sys.argv[1]) as channel:
    request = health_pb2.HealthCheckRequest()
    answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=3)
sys.exit(0 if answer.status == health_pb2.HealthCheckResponse.SERVING else 1)
