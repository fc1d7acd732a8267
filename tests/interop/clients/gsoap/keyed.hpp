// What the drivers of the three services with an access key share; `Proxy` is what gSOAP generated for one of them.
#pragma once

#include "driver.hpp"

json_t *log_in(Proxy &proxy, json_t *given) {
    _ns1__Login request;
    _ns1__LoginResponse response;
    request.user = text(proxy.soap, given, "user");
    request.pwd = text(proxy.soap, given, "pwd");
    request.url = text(proxy.soap, given, "url");
    send(proxy, &Proxy::Login, request, response);
    return value_of(response.LoginResult);
}

json_t *log_in_from_id(Proxy &proxy, json_t *given) {
    _ns1__LoginFromId request;
    _ns1__LoginFromIdResponse response;
    request.user = text(proxy.soap, given, "user");
    request.pwd = text(proxy.soap, given, "pwd");
    request.consoleId = number(given, "consoleId");
    send(proxy, &Proxy::LoginFromId, request, response);
    return value_of(response.LoginFromIdResult);
}

json_t *log_out(Proxy &proxy, json_t *given) {
    _ns1__Logout request;
    _ns1__LogoutResponse response;
    request.accessKey = text(proxy.soap, given, "accessKey");
    send(proxy, &Proxy::Logout, request, response);
    return value_of(response.LogoutResult);
}

// These services have no header.
void set_header(Proxy &, json_t *) {}
