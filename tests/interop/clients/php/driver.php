<?php
// Makes SOAP calls with PHP's SoapClient. Arguments: the SOAP version, then NAME=ADDRESS of each contract.
declare(strict_types=1);
ini_set('soap.wsdl_cache_enabled', '0');

// The types that extend one that an operation names become these; all others have no class of their own.
#[AllowDynamicProperties]
class Circle
{
}

#[AllowDynamicProperties]
class Square
{
}

#[AllowDynamicProperties]
class Tile
{
}

$version = $argv[1] === '1.2' ? SOAP_1_2 : SOAP_1_1;
$clients = [];
foreach (array_slice($argv, 2) as $contract) {
    [$name, $address] = explode('=', $contract, 2);
    $clients[$name] = new SoapClient($address, [
        'soap_version' => $version,
        'exceptions' => true,
        'classmap' => ['Circle' => Circle::class, 'Square' => Square::class, 'Tile' => Tile::class],
        'features' => SOAP_SINGLE_ELEMENT_ARRAYS,
        'keep_alive' => true,
    ]);
}

function to_php(mixed $value, string $namespace): mixed
{
    if (!is_array($value)) {
        return $value;
    }
    if (isset($value['of'])) {
        return [$value['of'] => array_map(fn ($item) => to_php($item, $namespace), $value['items'])];
    }
    $type = $value['xsi:type'] ?? null;
    unset($value['xsi:type']);
    return $type === null ? $value : new SoapVar((object) $value, SOAP_ENC_OBJECT, $type, $namespace);
}

function from_php(mixed $value): mixed
{
    if (is_array($value)) {
        return array_map('from_php', $value);
    }
    if (!is_object($value)) {
        return $value;
    }
    return ['xsi:type' => get_class($value)] + array_map('from_php', (array) $value);
}

function text_of(mixed $value): string
{
    return is_object($value) || is_array($value) ? implode('', array_map('text_of', array_values((array) $value))) : (string) $value;
}

function call(SoapClient $client, array $request): array
{
    if ($request['operation'] === '__getFunctions') {
        return ['value' => count($client->__getFunctions())];
    }
    $header = $request['header'];
    $client->__setSoapHeaders($header ? [new SoapHeader($request['namespace'], $header['name'], $header['members'])] : null);
    $client->__setLocation($request['address'] ?? '');
    $arguments = [];
    foreach ($request['arguments'] as $name => $value) {
        if ($value !== null) {
            $arguments[$name] = to_php($value, $request['namespace']);
        }
    }
    try {
        $result = $client->{$request['operation']}($arguments);
    } catch (SoapFault $fault) {
        $detail = text_of($fault->detail ?? '');
        return ['fault' => ['code' => $fault->faultcode, 'text' => $fault->faultstring, 'detail' => $detail ?: null]];
    }
    return ['value' => from_php($result->{$request['operation'] . 'Result'} ?? null)];
}

while (($line = fgets(STDIN)) !== false) {
    $request = json_decode($line, true, 512, JSON_THROW_ON_ERROR);
    echo json_encode(call($clients[$request['service']], $request), JSON_THROW_ON_ERROR), "\n";
    fflush(STDOUT);
}
