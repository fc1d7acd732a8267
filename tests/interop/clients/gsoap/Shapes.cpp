// Calls the contract with a family of types through what gSOAP generated.
#include "soapShapesSoapProxy.h"

#include "driver.hpp"

using Proxy = ShapesSoapProxy;

ns1__Shape *make_shape(Proxy &proxy, json_t *given) {
    const std::string type = json_string_value(json_object_get(given, "xsi:type"));
    if (type == "Circle") {
        auto *circle = soap_new_ns1__Circle(proxy.soap);
        circle->radius = number(given, "radius");
        return circle;
    }
    auto *tile = type == "Tile" ? soap_new_ns1__Tile(proxy.soap) : nullptr;
    auto *square = tile == nullptr ? soap_new_ns1__Square(proxy.soap) : tile;
    square->side = number(given, "side");
    if (tile != nullptr) tile->colour = text(proxy.soap, given, "colour");
    return square;
}

ns1__ArrayOfShape *make_shapes(Proxy &proxy, json_t *given) {
    auto *shapes = soap_new_ns1__ArrayOfShape(proxy.soap);
    size_t place;
    json_t *item;
    json_array_foreach(json_object_get(json_object_get(given, "shapes"), "items"), place, item) {
        auto *shape = make_shape(proxy, item);
        shape->name = text(proxy.soap, item, "name");
        shape->label = text(proxy.soap, item, "label");
        if (!json_is_null(json_object_get(item, "weight"))) {
            shape->weight = soap_new_int(proxy.soap);
            *shape->weight = number(item, "weight");
        }
        shapes->Shape.push_back(shape);
    }
    return shapes;
}

json_t *describe_shape(const ns1__Shape *shape) {
    json_t *members = json_pack("{s:o, s:o}", "name", value_of(shape->name), "label", value_of(shape->label));
    json_object_set_new(members, "weight", shape->weight == nullptr ? json_null() : json_integer(*shape->weight));
    const char *type = "Shape";
    if (const auto *circle = dynamic_cast<const ns1__Circle *>(shape)) {
        type = "Circle";
        json_object_set_new(members, "radius", json_integer(circle->radius));
    }
    if (const auto *square = dynamic_cast<const ns1__Square *>(shape)) {
        type = "Square";
        json_object_set_new(members, "side", json_integer(square->side));
    }
    if (const auto *tile = dynamic_cast<const ns1__Tile *>(shape)) {
        type = "Tile";
        json_object_set_new(members, "colour", value_of(tile->colour));
    }
    json_object_set_new(members, "xsi:type", json_string(type));
    return members;
}

json_t *mirror(Proxy &proxy, json_t *given) {
    _ns1__Mirror request;
    _ns1__MirrorResponse response;
    request.shapes = make_shapes(proxy, given);
    send(proxy, &Proxy::Mirror, request, response);
    json_t *shapes = json_array();
    for (const auto *shape : response.MirrorResult->Shape) json_array_append_new(shapes, describe_shape(shape));
    return shapes;
}

json_t *survey(Proxy &proxy, json_t *given) {
    _ns1__Survey request;
    _ns1__SurveyResponse response;
    request.shapes = make_shapes(proxy, given);
    send(proxy, &Proxy::Survey, request, response);
    return value_of(response.SurveyResult);
}

int main(int, char **arguments) {
    const Operation<Proxy> operations[] = {{"Mirror", mirror}, {"Survey", survey}};
    return serve<Proxy>(arguments[1], operations, [](Proxy &, json_t *) {});
}
