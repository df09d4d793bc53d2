"""Adapters through which orders of a grid operator reach the mine; each fills `hashwerk.dispatch.orders.OrderSource`."""
