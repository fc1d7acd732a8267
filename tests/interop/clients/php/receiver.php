<?php
// Receives webhooks as the old extensions for web shops do, and appends what it understood to the file RECEIVED_FILE
// names, one JSON object a line. Served by PHP's own web server.

function rc4(string $key, string $data): string
{
    $state = range(0, 255);
    for ($i = 0, $j = 0; $i < 256; $i++) {
        $j = ($j + $state[$i] + ord($key[$i % strlen($key)])) % 256;
        [$state[$i], $state[$j]] = [$state[$j], $state[$i]];
    }
    $out = '';
    for ($n = 0, $i = 0, $j = 0; $n < strlen($data); $n++) {
        $i = ($i + 1) % 256;
        $j = ($j + $state[$i]) % 256;
        [$state[$i], $state[$j]] = [$state[$j], $state[$i]];
        $out .= $data[$n] ^ chr($state[($state[$i] + $state[$j]) % 256]);
    }
    return $out;
}

$key = getenv('WEBHOOK_KEY');
$raw = $_SERVER['REQUEST_METHOD'] === 'POST' ? file_get_contents('php://input') : ($_SERVER['QUERY_STRING'] ?? '');
$values = [];
$form = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
if ($form === '/plain') {
    $values = $_REQUEST;
} elseif ($form === '/whole') {
    // The whole query string, or body.
    parse_str(rc4($key, base64_decode(urldecode($raw), true)), $values);
} elseif ($form === '/keys') {
    // Whichever parameter's name can be decrypted to something with an address.
    foreach (array_keys($_REQUEST) as $name) {
        parse_str(rc4($key, base64_decode((string) $name)), $found);
        if (isset($found['customerEmail'])) {
            $values = $found;
        }
    }
} elseif ($form === '/json') {
    $signed = $_SERVER['HTTP_X_LISTBRIDGE_TIMESTAMP'] . '.' . $raw;
    $expected = 'sha256=' . hash_hmac('sha256', $signed, $key);
    if (!hash_equals($expected, $_SERVER['HTTP_X_LISTBRIDGE_SIGNATURE'])) {
        http_response_code(403);
        exit('signature');
    }
    $values = json_decode($raw, true);
}
file_put_contents(getenv('RECEIVED_FILE'), json_encode($values) . "\n", FILE_APPEND | LOCK_EX);
echo $values ? '1' : '0';
