// Calls the sample contract through what gSOAP generated.
#include "soapSampleSoapProxy.h"

#include "driver.hpp"

using Proxy = SampleSoapProxy;

json_t *echo(Proxy &proxy, json_t *given) {
    _ns1__Echo request;
    _ns1__EchoResponse response;
    request.text = text(proxy.soap, given, "text");
    send(proxy, &Proxy::Echo, request, response);
    return value_of(response.EchoResult);
}

json_t *measure(Proxy &proxy, json_t *given) {
    _ns1__Measure request;
    _ns1__MeasureResponse response;
    request.text = text(proxy.soap, given, "text");
    send(proxy, &Proxy::Measure, request, response);
    return value_of(response.MeasureResult);
}

json_t *add(Proxy &proxy, json_t *given) {
    _ns1__Add request;
    _ns1__AddResponse response;
    request.first = number(given, "first");
    request.second = number(given, "second");
    send(proxy, &Proxy::Add, request, response);
    return json_integer(response.AddResult);
}

json_t *list_rows(Proxy &proxy, json_t *given) {
    _ns1__Rows request;
    _ns1__RowsResponse response;
    request.count = number(given, "count");
    send(proxy, &Proxy::Rows, request, response);
    json_t *rows = json_array();
    for (const auto *row : response.RowsResult->Row) {
        json_t *name = value_of(row->name), *note = value_of(row->note);
        json_array_append_new(rows, json_pack("{s:i, s:o, s:o}", "number", row->number, "name", name, "note", note));
    }
    return rows;
}

json_t *join_rows(Proxy &proxy, json_t *given) {
    _ns1__Join request;
    _ns1__JoinResponse response;
    json_t *rows = json_object_get(given, "rows"), *item;
    if (!json_is_null(rows)) {
        request.rows = soap_new_ns1__ArrayOfRow(proxy.soap);
        size_t place;
        json_array_foreach(json_object_get(rows, "items"), place, item) {
            auto *row = soap_new_ns1__Row(proxy.soap);
            row->number = number(item, "number");
            row->name = text(proxy.soap, item, "name");
            row->note = text(proxy.soap, item, "note");
            request.rows->Row.push_back(row);
        }
    }
    send(proxy, &Proxy::Join, request, response);
    return value_of(response.JoinResult);
}

json_t *tell_caller(Proxy &proxy, json_t *) {
    _ns1__WhoAmI request;
    _ns1__WhoAmIResponse response;
    send(proxy, &Proxy::WhoAmI, request, response);
    return value_of(response.WhoAmIResult);
}

json_t *fail(Proxy &proxy, json_t *given) {
    _ns1__Fail request;
    _ns1__FailResponse response;
    request.text = text(proxy.soap, given, "text");
    send(proxy, &Proxy::Fail, request, response);
    return value_of(response.FailResult);
}

void set_header(Proxy &proxy, json_t *members) {
    auto *ticket = soap_new_ns1__Ticket(proxy.soap);
    ticket->Owner = text(proxy.soap, members, "Owner");
    ticket->Secret = text(proxy.soap, members, "Secret");
    proxy.soap_header(ticket);
}

int main(int, char **arguments) {
    const Operation<Proxy> operations[] = {
        {"Echo", echo},      {"Measure", measure}, {"Add", add},   {"Rows", list_rows},
        {"Join", join_rows}, {"WhoAmI", tell_caller}, {"Fail", fail},
    };
    return serve(arguments[1], operations, set_header);
}
