"""Results of the app's MCP tools."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

from gradio.mcp import GradioMCPServer
from mcp.server.lowlevel import server as lowlevel


def answer_in_json() -> None:
    """Makes the MCP server return results as JSON, as text and as structured content, and describe them by schemas.

    Gradio would return them as Python's `str`, without a schema. Arguments are checked by the endpoints alone: a check
    by the schema takes a minute for a wrong value in a long list, in which the server answers nobody.
    """
    lowlevel.jsonschema = SimpleNamespace(  # pyright: ignore[reportPrivateImportUsage]
        validate=lambda **_: None, ValidationError=ValueError
    )
    postprocess, create = GradioMCPServer.postprocess_output_data, GradioMCPServer.create_mcp_server

    def in_json(self: GradioMCPServer, data: Any, root_url: str) -> Any:
        texts = [output if isinstance(output, str) else json.dumps(output, ensure_ascii=False) for output in data]
        return postprocess(self, texts, root_url)

    def described(self: GradioMCPServer) -> Any:
        server: Any = create(self)
        listing, call = self.types.ListToolsRequest, self.types.CallToolRequest
        list_tools, call_tool = server.request_handlers[listing], server.request_handlers[call]

        async def listed(request: Any) -> Any:
            answer = await list_tools(request)
            for tool in answer.root.tools:
                info = self.api_info["named_endpoints"][self.tool_to_endpoint[tool.name]]
                result = {"result": info["returns"][0]["type"]}
                tool.outputSchema = {"type": "object", "properties": result, "required": ["result"]}
            return answer

        async def called(request: Any) -> Any:
            answer = await call_tool(request)
            if not answer.root.isError:
                answer.root.structuredContent = {"result": json.loads(answer.root.content[0].text)}
            return answer

        server.request_handlers |= {listing: listed, call: called}
        return server

    GradioMCPServer.postprocess_output_data, GradioMCPServer.create_mcp_server = in_json, described
